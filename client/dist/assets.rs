// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "0e699a66b46a4dd9",
        etag: "\"0e699a66b46a4dd9\"",
        body: include_bytes!("client.js"),
    },
    Asset {
        path: "/worker.js",
        hash: "23789080b727f06a",
        etag: "\"23789080b727f06a\"",
        body: include_bytes!("worker.js"),
    },
    Asset {
        path: "/auto.js",
        hash: "e65d40e04cecca3c",
        etag: "\"e65d40e04cecca3c\"",
        body: include_bytes!("auto.js"),
    },
]
