// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "2dbf9cf1117c630f",
        etag: "\"2dbf9cf1117c630f\"",
        body: include_bytes!("client.js"),
    },
    Asset {
        path: "/worker.js",
        hash: "46b802577bf71cce",
        etag: "\"46b802577bf71cce\"",
        body: include_bytes!("worker.js"),
    },
    Asset {
        path: "/auto.js",
        hash: "8d7deb421c4c912a",
        etag: "\"8d7deb421c4c912a\"",
        body: include_bytes!("auto.js"),
    },
]
