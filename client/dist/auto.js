/*! tower-revalidate 0.1.0, MIT OR Apache-2.0 */
import{createRealtime as t}from"./client.js?v=21e16ecb16d55a0b";export{t as createRealtime};
