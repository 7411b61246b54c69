// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "eaca5b6f8c2a629d",
        etag: "\"eaca5b6f8c2a629d\"",
        body: include_bytes!("client.js"),
    },
    Asset {
        path: "/worker.js",
        hash: "312436b7bf7e1ac1",
        etag: "\"312436b7bf7e1ac1\"",
        body: include_bytes!("worker.js"),
    },
    Asset {
        path: "/auto.js",
        hash: "3e4f8300345c72fa",
        etag: "\"3e4f8300345c72fa\"",
        body: include_bytes!("auto.js"),
    },
]
