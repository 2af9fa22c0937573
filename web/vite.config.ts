import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import vue from '@vitejs/plugin-vue';
import icons from 'unplugin-icons/vite';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

/** Writes the offline shell `sw.js` with the names of the built files. */
function serviceWorker(): Plugin {
  return {
    name: 'parley-service-worker',
    apply: 'build',
    generateBundle(_, bundle) {
      const built = Object.keys(bundle).filter((name) => name !== 'index.html' && !name.endsWith('.map'));
      const files = ['/index.html', ...[...built, ...readdirSync('public')].map((name) => `/${name}`)];
      const source = readFileSync('src/sw.js', 'utf8');
      const version = createHash('sha256').update(source + files.join()).digest('hex').slice(0, 12);
      const filled = source.replace('self.__FILES__', JSON.stringify(files)).replace('self.__VERSION__', JSON.stringify(version));
      this.emitFile({ type: 'asset', fileName: 'sw.js', source: filled });
    },
  };
}

export default defineConfig({
  plugins: [vue(), icons({ compiler: 'vue3', scale: 1.15 }), serviceWorker()],
  build: {
    target: 'es2022',
    // All scripts are files of our own, because the content security policy allows no inline script.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  // For `npm run dev` beside `cargo run`.
  server: {
    proxy: {
      '/api': 'http://127.0.0.1:8000',
      '/_local': 'http://127.0.0.1:8000',
      '/config.json': 'http://127.0.0.1:8000',
      '/ws': { target: 'ws://127.0.0.1:8000', ws: true },
    },
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
