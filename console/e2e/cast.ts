import type { Page } from 'playwright-core';

/** Who plays: an admin, an operator, a viewer, each in a browser of their own. */
export interface Cast {
  ana: Page;
  bo: Page;
  vi: Page;
}
export const cast = {} as Cast;

/** A value that would run, and be seen to have run, if anything took it for a page. */
export const poison = `<img src=x onerror="window.ran='img'"></script><script>window.ran='script'</script>`;

export const password = 'a tide comes and a tide goes';
