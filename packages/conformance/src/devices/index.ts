export { DeviceBench } from './device-bench.js';
export { testDevice, type DeviceReport, type DeviceState, type DeviceTestOptions } from './test-device.js';
