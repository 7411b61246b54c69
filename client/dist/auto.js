/*! tower-revalidate 0.1.0, MIT OR Apache-2.0 */
import{placeholder as l}from"./client.js?v=2bbe0476921fac3c";Object.assign(globalThis,{placeholder:l});
