import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

// The page is served by the hub itself, from one place, under a policy that allows no
// inline script and nothing from elsewhere: hence no inlined assets and no preloads by script.
export default defineConfig({
  plugins: [react()],
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
