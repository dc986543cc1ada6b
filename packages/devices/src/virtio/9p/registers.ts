/** Feature bits of a 9P device ("VIRTIO", 9P Device): the configuration space has a tag. */
export const FilesFeature = { MOUNT_TAG: 0 } as const;
/** Offsets in its configuration space: length of the tag, and its bytes without an end. */
export const FilesConfig = { TAG_LENGTH: 0, TAG: 2 } as const;
/** Longest tag in bytes. */
export const MOST_TAG_BYTES = 255;
