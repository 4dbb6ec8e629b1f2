import './style/mantine';
import './style/base.css';
import './style/shell.css';
import { askAhead } from './hub/ahead';
import { paintScheme } from './scheme';

// All that must be quick, and nothing else: the frame of the page is painted, and the hub
// asked for what the first page shows, while the rest is still being read.
paintScheme();
askAhead();
void import('./start');
