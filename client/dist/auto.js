/*! tower-revalidate 0.1.0, MIT OR Apache-2.0 */
import{createRealtime as t}from"./client.js?v=3dd69f2db37500d7";export{t as createRealtime};
