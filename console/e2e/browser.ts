import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import { stage } from './stage';

export const desktop = { width: 1280, height: 800 };
export const phone = { width: 390, height: 844 };

/** What must not happen on any page, gathered all along and judged at the end. */
export const faults: string[] = [];

let browser: Browser | undefined;

/** The hub's own certificate is known by its key, so that the page is as safe as any other. */
export async function start(): Promise<void> {
  browser = await chromium.launch({
    executablePath: stage.chromium,
    args: [`--ignore-certificate-errors-spki-list=${stage.key}`, '--disable-dev-shm-usage'],
  });
}

export async function stop(): Promise<void> {
  await browser?.close();
}

/** person is a browser of their own: cookies, storage, passkeys. */
export async function person(): Promise<{ context: BrowserContext; page: Page }> {
  if (!browser) throw new Error('no browser');
  const context = await browser.newContext({ viewport: desktop, colorScheme: 'light', reducedMotion: 'reduce', locale: 'en-GB', timezoneId: 'UTC' });
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  guard(page);
  return { context, page };
}

function guard(page: Page) {
  page.on('pageerror', (e) => faults.push(`error in the page at ${page.url()}: ${e.message}`));
  page.on('dialog', (d) => {
    faults.push(`a script spoke: ${d.message()}`);
    void d.dismiss();
  });
  page.on('console', (m) => {
    const text = m.text();
    if (/Content.Security.Policy|Refused to|violates|unique "key" prop|Warning:/i.test(text)) faults.push(`${m.type()} at ${page.url()}: ${text}`);
  });
  page.on('request', (r) => {
    const u = r.url();
    if (!u.startsWith(stage.url + '/') && !/^(data|blob):/.test(u)) faults.push(`request to the outside: ${u}`);
  });
}

/** go opens an address of the console. */
export async function open(page: Page, hash: string): Promise<void> {
  await page.goto(`${stage.url}/${hash}`);
}
