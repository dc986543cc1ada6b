import { packageConfig } from '../../tsup.base.js';

export default packageConfig(['src/index.ts', 'src/platform/index.ts', 'src/display/index.ts', 'src/virtio/index.ts', 'src/virtio/testing/index.ts']);
