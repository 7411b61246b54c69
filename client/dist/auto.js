/*! tower-revalidate 0.1.0, MIT OR Apache-2.0 */
import{createRealtime as t}from"./client.js?v=0a4b0b970f82be54";export{t as createRealtime};
