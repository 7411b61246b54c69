// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "ceb5401385b7279d",
        etag: "\"ceb5401385b7279d\"",
        body: include_bytes!("client.js"),
    },
    Asset {
        path: "/worker.js",
        hash: "61f480df41a6709c",
        etag: "\"61f480df41a6709c\"",
        body: include_bytes!("worker.js"),
    },
    Asset {
        path: "/auto.js",
        hash: "f13c0b474366af45",
        etag: "\"f13c0b474366af45\"",
        body: include_bytes!("auto.js"),
    },
]
