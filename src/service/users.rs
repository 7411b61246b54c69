//! `GET {mount}/channel/users?channel=room:1&cursor=&limit=`: who is present in a channel, a page at a time.

use http::Uri;
use serde::Serialize;

use super::emit::channel;
use super::operator::Figures;
use super::post::malformed;
use crate::access::Authorizer;
use crate::hub::Options;
use crate::stream::last;
use crate::{Channel, Hub, Presence, PresentUser, Refusal};

const DEFAULT_LIMIT: usize = 200;
const MAX_LIMIT: usize = 1000;

pub(super) struct Users;

impl Figures for Users {
    const PATH: &'static str = "channel/users";

    fn authorizer(options: &Options) -> Option<&Authorizer<()>> {
        options.channel_users.as_ref()
    }

    async fn read(hub: Hub, uri: Uri) -> Result<Vec<u8>, Refusal> {
        let asked = Asked::of(uri.query().unwrap_or_default())?;
        let page =
            Presence { hub: &hub, channel: asked.channel.clone() }.page(asked.after.as_deref(), asked.limit);
        let told = Told {
            channel: &asked.channel,
            users: &page.users,
            count: page.count,
            next: page.next.as_deref(),
        };
        Ok(serde_json::to_vec(&told)?)
    }
}

/// Which page of which channel a query asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    channel: Channel,
    /// After this user.
    after: Option<String>,
    limit: usize,
}

#[derive(Serialize)]
struct Told<'a> {
    channel: &'a Channel,
    users: &'a [PresentUser],
    /// Of all users, not of this page alone.
    count: usize,
    /// The `cursor` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
}

impl Asked {
    fn of(query: &str) -> Result<Self, Refusal> {
        let name = last(query, &["channel"]).ok_or_else(|| malformed("of which channel?"))?;
        let limit = match last(query, &["limit"]) {
            None => DEFAULT_LIMIT,
            Some(limit) => match limit.parse() {
                Ok(limit @ 1..=MAX_LIMIT) => limit,
                _ => return Err(malformed(format!("the limit is a number from 1 to {MAX_LIMIT}"))),
            },
        };
        let after = last(query, &["cursor"]).filter(|cursor| !cursor.is_empty());
        Ok(Asked { channel: channel(&name)?, after: after.map(|cursor| cursor.into_owned()), limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_a_channel_and_perhaps_a_page() {
        let asked = |query| Asked::of(query).map_err(|refusal| (refusal.status.as_u16(), refusal.code));
        let room = || Channel::parse("room:1").unwrap();
        for first in ["channel=room:1", "channel=room:1&cursor="] {
            assert_eq!(asked(first), Ok(Asked { channel: room(), after: None, limit: DEFAULT_LIMIT }));
        }
        let next = Asked { channel: room(), after: Some("al ice&".into()), limit: 2 };
        assert_eq!(asked("limit=2&channel=room%3A1&cursor=al+ice%26"), Ok(next));
        for query in
            ["", "channel=", "channel=*", "channel=a&limit=0", "channel=a&limit=1001", "channel=a&limit="]
        {
            assert_eq!(asked(query), Err((400, "malformed".into())), "{query}");
        }
    }
}
