//! The examples' promises, the same for each framework and each HTTP: every test is a promise of
//! `{framework}::{version}`, against the example as its users run it.

mod access;
mod cursors;
mod ends;
mod headers;
mod mount;
mod routes;
mod wire;

/// A test for each framework, version of HTTP and promise; each has a server of its own.
macro_rules! for_each_example {
    ($($framework:ident: $example:ident;)+) => {$(
        mod $framework {
            for_each_example!(@versions $example, http1: Http1, http2: Http2);
        }
    )+};
    (@versions $example:ident, $($module:ident: $version:ident),+) => {$(
        mod $module {
            for_each_example! { @promises $example, $version:
                routes::every_route_answers,
                routes::everyone_hears_what_is_theirs,
                cursors::a_client_cut_in_a_burst_misses_nothing,
                cursors::a_cursor_in_the_query_resumes_and_the_header_wins,
                cursors::what_went_stale_meanwhile_is_heard,
                cursors::a_strange_cursor_is_a_gap_and_no_refusal,
                cursors::what_a_channel_forgot_is_a_gap_that_names_it,
                cursors::a_change_between_the_page_and_its_stream_is_heard,
                access::a_denied_channel_is_listed_and_the_rest_opens,
                access::too_much_is_refused_and_opens_nothing,
                access::what_a_client_claims_has_no_effect,
                access::no_channels_are_no_channels,
                access::who_follows_much_hears_once,
                wire::nothing_can_be_forged,
                wire::a_change_says_who_made_it,
                headers::a_stream_has_the_headers_of_one,
                headers::what_was_read_has_a_cursor_and_nothing_else,
                mount::it_ends_at_the_borders_of_segments,
                mount::it_says_which_methods_it_has,
                mount::it_has_the_browser_client,
                ends::clients_that_go_away_are_let_go,
                ends::sigint_ends_it,
                ends::sigterm_ends_it_though_a_client_does_not_read,
            }
        }
    )+};
    (@promises $example:ident, $version:ident: $($family:ident::$promise:ident,)+) => {$(
        #[tokio::test]
        async fn $promise() {
            let server = e2e::Server::start(e2e::Example::$example).await;
            let nobody = e2e::Client::new(server.url(), e2e::Version::$version);
            crate::$family::$promise(server, nobody).await;
        }
    )+};
}

for_each_example! {
    axum: Axum;
    hyper: Hyper;
    poem: Poem;
    salvo: Salvo;
    warp: Warp;
}
