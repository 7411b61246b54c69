/*! tower-revalidate 0.1.0, MIT OR Apache-2.0 */
import{createRealtime as e}from"./client.js?v=d8179aa5ba1ed0e2";export{e as createRealtime};