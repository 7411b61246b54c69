/*! tower-revalidate 0.1.0, MIT OR Apache-2.0 */
import{createRealtime as c}from"./client.js?v=86cc9e93ba220c72";export{c as createRealtime};