import { defineConfig } from 'vitest/config';

// The scripts run inside a Go test (e2e/console_test.go), which starts the hub and the
// devices. Steps build on each other: in order, and none after one that failed.
export default defineConfig({
  test: {
    environment: 'node',
    dir: import.meta.dirname,
    include: ['*.play.ts'],
    bail: 1,
    fileParallelism: false,
    testTimeout: 180_000,
    hookTimeout: 60_000,
    reporters: ['verbose'],
  },
});
