export { createRealtime } from './index';
