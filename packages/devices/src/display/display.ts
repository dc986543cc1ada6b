/** What a display shows at one moment. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  /** Rows from the top, pixels from the left, four bytes each: red, green, blue, and 255 (as `ImageData` has them). */
  readonly pixels: Uint8Array;
}

/** A device that shows a picture: a graphics card. */
export interface Display {
  /** Name of the device. */
  readonly name: string;
  /** The picture as it is now, a copy; undefined while nothing is shown. */
  picture(): Picture | undefined;
}

/** Whether a device shows a picture. */
export const isDisplay = (device: object): device is Display => 'picture' in device && typeof device.picture === 'function';
