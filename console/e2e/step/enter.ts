import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { desktop, open, person, phone } from '../browser';
import { cast, password } from '../cast';
import { code, freshStep, stepNow } from '../code';
import { look } from '../look';
import { stage } from '../stage';

const setup = stage.setup?.slice(stage.setup.indexOf('#'));

/** choose fills in what a one-time link asks for. */
async function choose(page: Page, name: string, button: string) {
  if (name) await page.getByLabel('Name', { exact: true }).fill(name);
  await page.getByLabel('Password', { exact: true }).fill(password);
  await page.getByLabel('Password, again').fill(password);
  await page.getByRole('button', { name: button }).click();
}

export function enter() {
  let secret = '';
  let used = 0;

  test('the link that the hub printed makes the first admin', async () => {
    cast.ana = (await person()).page;
    await open(cast.ana, setup);
    const page = cast.ana;
    await page.getByLabel('Password', { exact: true }).fill('short');
    await page.getByText('Too short').waitFor();
    await look(page, 'setup');
    await choose(page, 'Ana', 'Set up');
    await page.getByRole('heading', { name: 'Ana' }).waitFor();
  });

  test('the link works once', async () => {
    const { page, context } = await person();
    await open(page, setup);
    await choose(page, 'Mallory', 'Come in');
    const said = page.getByRole('alert');
    await said.waitFor();
    await look(page, 'link-used', { once: true });
    expect(await said.innerText()).toMatch(/link|used|once/i);
    await context.close();
  });

  test('codes from an app are turned on', async () => {
    const page = cast.ana;
    const codes = page.getByRole('region', { name: 'Codes' });
    await codes.getByRole('button', { name: 'Set up' }).click();
    secret = await codes.locator('dd .mono').innerText();
    await look(page, 'you-codes');
    await codes.getByLabel('Six digits').fill('000000');
    await codes.getByRole('button', { name: 'Turn on' }).click();
    await codes.getByRole('alert').waitFor();
    used = stepNow();
    await codes.getByLabel('Six digits').fill(code(secret, used));
    await codes.getByRole('button', { name: 'Turn on' }).click();
    await codes.getByText('on', { exact: true }).waitFor();
  });

  test('a passkey is added', async () => {
    const page = cast.ana;
    const cdp = await page.context().newCDPSession(page);
    await cdp.send('WebAuthn.enable');
    await cdp.send('WebAuthn.addVirtualAuthenticator', {
      options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
    });
    await page.getByLabel('What to call it').fill('laptop');
    await page.getByRole('button', { name: 'Add a passkey' }).click();
    await page.getByRole('region', { name: 'Passkeys' }).getByText('laptop').waitFor();
    await look(page, 'you');
  });

  test('logging in by password asks for a code, and takes each code once', async () => {
    const page = cast.ana;
    await page.getByRole('button', { name: 'Log out', exact: true }).click();
    await page.getByLabel('Name').waitFor();
    await look(page, 'login');
    await page.getByLabel('Name').fill('Ana');
    await page.getByLabel('Password', { exact: true }).fill('not the password at all');
    await page.getByRole('button', { name: 'Log in', exact: true }).click();
    await page.getByRole('alert').waitFor();
    await page.getByLabel('Password', { exact: true }).fill(password);
    await page.getByRole('button', { name: 'Log in', exact: true }).click();
    const digits = page.getByLabel('The six digits for Ana');
    await digits.fill(code(secret, used));
    await page.getByRole('button', { name: 'Log in', exact: true }).click();
    await page.getByRole('alert').waitFor();
    await look(page, 'login-code');
    used = await freshStep(used);
    await digits.fill(code(secret, used));
    await page.getByRole('button', { name: 'Log in', exact: true }).click();
    await page.getByText('No devices yet.').waitFor();
  });

  test('and by the passkey, without either', async () => {
    const page = cast.ana;
    await open(page, '#/you');
    await page.getByRole('button', { name: 'Log out', exact: true }).click();
    await page.getByRole('button', { name: 'Log in with a passkey' }).click();
    await page.getByText('No devices yet.').waitFor();
    await look(page, 'fleet-empty');
  });

  test('codes are turned off by who knows the password and has the app, and nobody else', async () => {
    const page = cast.ana;
    await open(page, '#/you');
    await page.setViewportSize(phone);
    const codes = page.getByRole('region', { name: 'Codes' });
    await codes.getByRole('button', { name: 'Turn off' }).click();
    const form = codes.getByRole('form', { name: 'Turn codes off' });
    used = await freshStep(used);
    await form.getByLabel('Password', { exact: true }).fill('not the password at all');
    await form.getByLabel('Six digits').fill(code(secret, used));
    await form.getByRole('button', { name: 'Turn codes off' }).click();
    await form.getByRole('alert').getByText('The password is wrong').waitFor();
    await form.getByLabel('Password', { exact: true }).fill(password);
    await look(page, 'you-codes-off');
    await page.setViewportSize(phone);
    used = Math.max(stepNow(), used); // the one before was not taken
    await form.getByLabel('Six digits').fill(code(secret, used));
    await form.getByRole('button', { name: 'Turn codes off' }).click();
    const toast = page.locator('.toast').getByText('asks for no code any more');
    await toast.waitFor();
    const at = (await toast.boundingBox())!;
    expect(at.y + at.height, 'what is said in passing lies over fields').toBeLessThan(120);
    await codes.getByText('off', { exact: true }).waitFor();
    await page.setViewportSize(desktop);
  });

  test('others come in by links that the admin makes', async () => {
    cast.bo = await invite('Bo', /^operator/);
    cast.vi = await invite('Vi', /^viewer/);
    await look(cast.ana, 'people');
  });
}

async function invite(name: string, role: RegExp) {
  const admin = cast.ana;
  await open(admin, '#/people?tab=people');
  await admin.getByLabel('Name of who is invited').fill(name);
  const pick = admin.getByLabel('Role of who is invited');
  const labels = await pick.locator('option').allInnerTexts();
  await pick.selectOption({ label: labels.find((l) => role.test(l))! });
  await admin.getByRole('button', { name: 'Invite' }).click();
  const link = await admin.getByRole('status').filter({ hasText: `Give this link to ${name}.` }).locator('pre').innerText();
  const { page } = await person();
  await open(page, link.slice(link.indexOf('#')));
  await choose(page, '', 'Come in');
  await page.getByRole('heading', { name, exact: true }).waitFor();
  return page;
}
