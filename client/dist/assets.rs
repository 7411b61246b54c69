// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "d895b38bd50d864e",
        etag: "\"d895b38bd50d864e\"",
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
        hash: "558a93b1dbad848d",
        etag: "\"558a93b1dbad848d\"",
        body: include_bytes!("auto.js"),
    },
]
