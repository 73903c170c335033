// Process entry of `ssi`, but for what makes it quick: compiled code of an earlier run is taken from the
// project's own folder, before anything else is loaded. Where that cannot be written nothing is kept.
import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

enableCompileCache(fileURLToPath(new URL('../../../.tools/compile-cache', import.meta.url)));
await import('./command-line.ts');
