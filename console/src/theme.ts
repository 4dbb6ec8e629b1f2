import { createTheme, type CSSVariablesResolver, type MantineColorsTuple } from '@mantine/core';

// Mantine's own colours fail WCAG AA in places (dimmed text, light badges, errors on
// dark): these were chosen by contrast against the papers they lie on, in both themes.
const tide: MantineColorsTuple = ['#e3f3f4', '#c9e6e8', '#9bd2d6', '#6fc3c9', '#4fb0b8', '#2c949d', '#147a84', '#0b636d', '#0a545c', '#08434a'];
const red: MantineColorsTuple = ['#fdeeec', '#fbdcd8', '#f6b9b2', '#f29a90', '#e8766a', '#d9483b', '#c43024', '#ab241a', '#8f1d15', '#751812'];

// Mantine's greys for dark fields and borders, in the page's own hue.
const dark: MantineColorsTuple = ['#e4edef', '#c3d0d4', '#9db0b8', '#72868e', '#3d5159', '#24343b', '#1a2930', '#142026', '#0d161b', '#0a1216'];

export const theme = createTheme({
  colors: { tide, red, dark },
  primaryColor: 'tide',
  primaryShade: { light: 7, dark: 7 },
  defaultRadius: 6,
  cursorType: 'pointer',
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", "Cascadia Mono", "Liberation Mono", monospace',
  headings: { fontWeight: '650' },
  respectReducedMotion: true,
  focusRing: 'auto',
  components: {
    InputWrapper: { defaultProps: { withAsterisk: false } },
    Modal: { defaultProps: { centered: true, transitionProps: { duration: 120 } } },
    Button: { defaultProps: { size: 'sm' } },
    TextInput: { defaultProps: { size: 'sm' } },
    Tooltip: { defaultProps: { openDelay: 300 } },
  },
});

export const cssVariables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    '--mantine-color-body': 'var(--paper)',
    '--mantine-color-text': 'var(--ink)',
    '--mantine-color-dimmed': 'var(--dim)',
    '--mantine-color-placeholder': 'var(--dim)',
    '--mantine-color-error': 'var(--alarm)',
    '--mantine-color-default': 'var(--raised)',
    '--mantine-color-default-hover': 'var(--hover)',
    '--mantine-color-default-border': 'var(--edge)',
    '--mantine-color-anchor': 'var(--accent)',
    '--mantine-color-red-light': '#fbe4e1',
    '--mantine-color-red-light-color': '#8f1d15',
  },
  dark: {
    '--mantine-color-body': 'var(--paper)',
    '--mantine-color-text': 'var(--ink)',
    '--mantine-color-dimmed': 'var(--dim)',
    '--mantine-color-placeholder': 'var(--dim)',
    '--mantine-color-error': 'var(--alarm)',
    '--mantine-color-default': 'var(--raised)',
    '--mantine-color-default-hover': 'var(--hover)',
    '--mantine-color-default-border': 'var(--edge)',
    '--mantine-color-anchor': 'var(--accent)',
    '--mantine-color-red-light': '#46201c',
    '--mantine-color-red-light-color': '#ffb4ab',
    '--mantine-color-tide-light-color': '#9bd2d6',
  },
});
