// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "b6fe3e8e7c914c5f",
        etag: "\"b6fe3e8e7c914c5f\"",
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
        hash: "e904d70879ea0b76",
        etag: "\"e904d70879ea0b76\"",
        body: include_bytes!("auto.js"),
    },
]
