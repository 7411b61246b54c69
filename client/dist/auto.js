/*! tower-revalidate 0.1.0, MIT OR Apache-2.0 */
import{createRealtime as t}from"./client.js?v=2ed7f308bf89318b";export{t as createRealtime};
