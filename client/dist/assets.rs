// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "d8179aa5ba1ed0e2",
        etag: "\"d8179aa5ba1ed0e2\"",
        body: include_bytes!("client.js"),
    },
    Asset {
        path: "/worker.js",
        hash: "96a57439661ce470",
        etag: "\"96a57439661ce470\"",
        body: include_bytes!("worker.js"),
    },
    Asset {
        path: "/auto.js",
        hash: "8029917dc4b9a9dc",
        etag: "\"8029917dc4b9a9dc\"",
        body: include_bytes!("auto.js"),
    },
]
