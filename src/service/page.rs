//! A long list of users, a page at a time.
#![allow(dead_code, reason = "presence has such lists")]

use super::emit::channel;
use super::last;
use super::post::malformed;
use crate::{Channel, Refusal};

/// Which page of which channel a query asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) channel: Channel,
    /// After this user.
    pub(super) after: Option<String>,
    pub(super) limit: usize,
}

const DEFAULT_LIMIT: usize = 200;
const MAX_LIMIT: usize = 1000;

impl Asked {
    /// Of `channel=room:1&cursor=alice&limit=50`.
    pub(super) fn of(query: &str) -> Result<Self, Refusal> {
        let name = last(query, &["channel"]).ok_or_else(|| malformed("of which channel?"))?;
        let limit = match last(query, &["limit"]) {
            None => DEFAULT_LIMIT,
            Some(limit) => match limit.parse() {
                Ok(limit @ 1..=MAX_LIMIT) => limit,
                _ => return Err(malformed(format!("the limit is a number from 1 to {MAX_LIMIT}"))),
            },
        };
        let after = last(query, &["cursor"]).map(|cursor| cursor.into_owned());
        Ok(Asked { channel: channel(&name)?, after, limit })
    }

    /// The page of users that are sorted by their id; with the cursor of the next one, if there are more.
    pub(super) fn page<'a, U: 'a>(
        &self,
        users: impl IntoIterator<Item = (&'a str, U)>,
    ) -> (Vec<(&'a str, U)>, Option<&'a str>) {
        let after = self.after.as_deref();
        let mut rest = users.into_iter().skip_while(|(id, _)| after.is_some_and(|after| *id <= after)).fuse();
        let page: Vec<_> = rest.by_ref().take(self.limit).collect();
        let next = rest.next().and_then(|_| page.last().map(|(id, _)| *id));
        (page, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_a_channel_and_perhaps_a_page() {
        let asked = |query| Asked::of(query).map_err(|refusal| (refusal.status.as_u16(), refusal.code));
        let room = || Channel::parse("room:1").unwrap();
        let first = Asked { channel: room(), after: None, limit: DEFAULT_LIMIT };
        assert_eq!(asked("channel=room:1"), Ok(first));
        let next = Asked { channel: room(), after: Some("al ice&".into()), limit: 2 };
        assert_eq!(asked("limit=2&channel=room%3A1&cursor=al+ice%26"), Ok(next));
        for query in
            ["", "channel=", "channel=*", "channel=a&limit=0", "channel=a&limit=1001", "channel=a&limit="]
        {
            assert_eq!(asked(query), Err((400, "malformed".into())), "{query}");
        }
    }

    #[test]
    fn pages_hold_each_user_once() {
        let users: Vec<_> = (10..75).map(|id| id.to_string()).collect();
        for limit in [1, 7, 64, 65, 66] {
            let mut asked = Asked { channel: Channel::parse("room:1").unwrap(), after: None, limit };
            let mut seen = Vec::new();
            loop {
                let (page, next) = asked.page(users.iter().map(|id| (&**id, ())));
                assert!(!page.is_empty() && page.len() <= limit);
                seen.extend(page.into_iter().map(|(id, ())| id.to_owned()));
                match next {
                    Some(next) => asked.after = Some(next.to_owned()),
                    None => break,
                }
            }
            assert_eq!(seen, users, "{limit}");
        }
        let gone = Asked { channel: Channel::parse("room:1").unwrap(), after: Some("2".into()), limit: 1 };
        let (page, next) = gone.page([("1", ()), ("3", ())]);
        assert_eq!((page, next), (vec![("3", ())], None), "a cursor of who left is good, too");
    }
}
