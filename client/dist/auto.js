/*! tower-revalidate 0.1.0, MIT OR Apache-2.0 */
import{createRealtime as t}from"./client.js?v=4d82d79ed797d735";export{t as createRealtime};
