import react from '@vitejs/plugin-react';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

/** preload has the browser fetch what the entry imports a moment later: the program, beside the frame. */
function preload(): Plugin {
  return {
    name: 'tidemark-preload',
    transformIndexHtml: {
      order: 'post',
      handler(_, { bundle = {} }) {
        const files = new Set<string>();
        const styles = new Set<string>();
        const add = (name: string) => {
          const c = bundle[name];
          if (c?.type !== 'chunk' || c.isEntry || files.has(name)) return;
          files.add(name);
          c.viteMetadata?.importedCss.forEach((s) => styles.add(s));
          c.imports.forEach(add);
        };
        for (const [name, c] of Object.entries(bundle)) if (c.type === 'chunk' && c.name === 'start') add(name);
        const link = (rel: string) => (f: string) => ({ tag: 'link', attrs: { rel, crossorigin: true, href: `/${f}` }, injectTo: 'head' as const });
        return [...[...styles].map(link('stylesheet')), ...[...files].map(link('modulepreload'))];
      },
    },
  };
}

/** pack puts packed files beside those for which it pays: the hub has nothing to do then. */
function pack(): Plugin {
  return {
    name: 'tidemark-pack',
    apply: 'build',
    writeBundle({ dir = 'dist' }) {
      for (const at of [dir, join(dir, 'assets')]) {
        for (const name of readdirSync(at)) {
          if (!/\.(js|css|svg)$/.test(name)) continue;
          const body = readFileSync(join(at, name));
          const packed = { gz: gzipSync(body, { level: 9 }), br: brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }) };
          for (const [ending, p] of Object.entries(packed)) if (p.length < 0.9 * body.length) writeFileSync(join(at, `${name}.${ending}`), p);
        }
      }
    },
  };
}

// The page is served by the hub itself, from one place, under a policy that allows no
// inline script and nothing from elsewhere: hence no inlined assets and no preloads by script.
export default defineConfig({
  plugins: [react(), preload(), pack()],
  base: '/',
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // dist/.keep is what go:embed needs on a clone without a build.
    emptyOutDir: true,
    chunkSizeWarningLimit: 900,
  },
  publicDir: 'public',
  test: { environment: 'happy-dom', include: ['src/**/*.test.{ts,tsx}'] },
});
