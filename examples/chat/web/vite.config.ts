import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

const server = 'http://127.0.0.1:3000';

export default defineConfig({
  plugins: [react()],
  // `npm run dev`, beside `cargo run -p example-chat --example chat`.
  server: { proxy: { '/api': server, '/realtime': server } },
  build: {
    target: 'es2022',
    // The files and names that the binary knows: see pages.rs. An app with a folder of assets keeps Vite's own.
    rolldownOptions: { output: { entryFileNames: 'app.js', assetFileNames: 'app[extname]', codeSplitting: false } },
    license: { fileName: 'licenses.md' },
  },
});
