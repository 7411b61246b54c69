// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "2ed7f308bf89318b",
        etag: "\"2ed7f308bf89318b\"",
        body: include_bytes!("client.js"),
    },
    Asset {
        path: "/worker.js",
        hash: "493f2f58ce5ae96f",
        etag: "\"493f2f58ce5ae96f\"",
        body: include_bytes!("worker.js"),
    },
    Asset {
        path: "/auto.js",
        hash: "2d1766b4c4b5cda0",
        etag: "\"2d1766b4c4b5cda0\"",
        body: include_bytes!("auto.js"),
    },
]
