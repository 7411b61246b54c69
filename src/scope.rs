//! [`Scope`]: what a connection *is*.

use crate::name::{self, Kind, Text, name_type};

/// What a connection *is*: `user:123`, `role:admin`, `tenant:acme`.
///
/// A scope is granted by the server in a [`Grant`](crate::Grant); nothing that a client sends can claim one.
/// A [`Revalidate`](crate::Revalidate) is addressed to scopes; a session hears it when it has any of them.
///
/// ```
/// use tower_revalidate::Scope;
///
/// const ADMINS: Scope = Scope::from_static("role:admin");
/// assert_eq!(ADMINS, Scope::new(("role", "admin"))?);
/// assert!(Scope::new(("user", "*")).is_err());
/// assert!(Scope::new(("user", "1:admin")).is_err());
/// # Ok::<(), tower_revalidate::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(pub(crate) Text);

name_type!(Scope, Kind::Plain);

impl Scope {
    /// Builds a scope from a literal or from parts.
    ///
    /// # Errors
    /// [`NameError`](crate::NameError), see [`IntoName`](crate::IntoName).
    pub fn new(name: impl crate::IntoName<Scope>) -> Result<Self, crate::NameError> {
        name.into_name()
    }

    /// A scope from a literal, checked at compile time where it stands in a `const`.
    ///
    /// # Panics
    /// When the literal is not a name.
    #[must_use]
    #[allow(clippy::panic)]
    pub const fn from_static(literal: &'static str) -> Self {
        assert!(name::is_literal(literal), "this literal is not a scope");
        Scope(Text::Static(literal))
    }
}
