// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "b34d28074a5254ee",
        etag: "\"b34d28074a5254ee\"",
        body: include_bytes!("client.js"),
    },
    Asset {
        path: "/worker.js",
        hash: "72c8c1654ee27056",
        etag: "\"72c8c1654ee27056\"",
        body: include_bytes!("worker.js"),
    },
    Asset {
        path: "/auto.js",
        hash: "407817ea5cd2624d",
        etag: "\"407817ea5cd2624d\"",
        body: include_bytes!("auto.js"),
    },
]
