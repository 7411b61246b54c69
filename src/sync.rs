//! The locks and atomics of the concurrent part: the real ones, or loom's when it explores every
//! interleaving (`--cfg loom_model`).

#[cfg(not(loom_model))]
pub(crate) use parking_lot::Mutex;
#[cfg(not(loom_model))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

#[cfg(loom_model)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

/// loom's mutex with the face of `parking_lot`'s.
#[cfg(loom_model)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

#[cfg(loom_model)]
impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        match self.0.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}
