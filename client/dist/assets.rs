// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "b37f64b66ede28cc",
        etag: "\"b37f64b66ede28cc\"",
        body: include_bytes!("client.js"),
    },
    Asset {
        path: "/worker.js",
        hash: "bd0e1ae001858435",
        etag: "\"bd0e1ae001858435\"",
        body: include_bytes!("worker.js"),
    },
    Asset {
        path: "/auto.js",
        hash: "10f89b88c3d1775d",
        etag: "\"10f89b88c3d1775d\"",
        body: include_bytes!("auto.js"),
    },
]
