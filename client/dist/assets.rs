// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "0a4b0b970f82be54",
        etag: "\"0a4b0b970f82be54\"",
        body: include_bytes!("client.js"),
    },
    Asset {
        path: "/worker.js",
        hash: "2fb6c04fbeb5a554",
        etag: "\"2fb6c04fbeb5a554\"",
        body: include_bytes!("worker.js"),
    },
    Asset {
        path: "/auto.js",
        hash: "d6359e46d182b842",
        etag: "\"d6359e46d182b842\"",
        body: include_bytes!("auto.js"),
    },
]
