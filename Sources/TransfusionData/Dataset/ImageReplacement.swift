internal import TransfusionCore

/// Makes a data set of another's captions and texts, with other images in the places of its own.
public final class ImageReplacement {
    private let source: PackedDataset
    private let directory: UnfinishedDirectory
    private let images: FileSink
    private var manifest: DatasetManifest
    private var written = 0

    /// - Parameters:
    ///   - directory: Where it is built; an empty one.
    ///   - image: How the new images are stored.
    ///   - autoencoder: What made them; its copy is to be written to `autoencoderCopy`.
    ///   - description: What was done, for people; it follows on the source's.
    public init(
        of source: PackedDataset, in directory: UnfinishedDirectory, image: DatasetManifest.ImageShape,
        autoencoder: DatasetManifest.Autoencoder, description: String
    ) throws(DataError) {
        self.source = source
        self.directory = directory
        manifest = source.manifest
        manifest.image = image
        manifest.autoencoder = autoencoder
        manifest.description += "; " + description
        manifest.files = [:]
        images = try FileSink(directory.file(PackedDataset.FileName.images))
    }

    /// Where the copy of the autoencoder goes.
    public var autoencoderCopy: String { directory.file(PackedDataset.FileName.autoencoder) }

    /// Adds the image in the place of the source's next one.
    /// - Parameter values: `[channels, height, width]`, rounded to the stored type.
    public func add(_ values: UnsafeBufferPointer<Float>) throws(DataError) {
        precondition(values.count == manifest.image.elements && written < manifest.images)
        switch manifest.image.element {
        case .f32: for value in values { try images.write(value.bitPattern) }
        case .bf16: for value in values { try images.write(BFloat16(value).bits) }
        case .u16: for value in values { try images.write(UInt16(value)) }
        case .u8: preconditionFailure("numbers of latents are no pixels")
        }
        written += 1
    }

    /// Copies everything but the images, computes the digests and puts the data set in its place.
    public func finish() throws(DataError) -> DatasetManifest {
        precondition(written == manifest.images, "\(written) of \(manifest.images) images were replaced")
        try images.close()
        typealias Name = PackedDataset.FileName
        for name in (Array(source.manifest.files.keys) + [Name.autoencoder]).sorted() where name != Name.sheet {
            if name != Name.images, name != Name.autoencoder { try copy(name) }
            let file = try MappedFile(directory.file(name))
            manifest.files[name] = DatasetManifest.File(bytes: file.bytes.count, sha256: file.digest())
        }
        let (sealed, bytes) = try manifest.sealed()
        let sink = try FileSink(directory.file(DatasetManifest.fileName))
        try sink.write(bytes)
        try sink.close()
        try directory.finish()
        return sealed
    }

    private func copy(_ name: String) throws(DataError) {
        let path = source.path + "/" + name
        let file = try MappedFile(path, expectedBytes: source.manifest.files[name]?.bytes ?? 0)
        defer { withExtendedLifetime(file) {} }
        guard file.digest() == source.manifest.files[name]?.sha256 else {
            throw DataError(path, "does not match its SHA-256; the data set is damaged, build it again")
        }
        let sink = try FileSink(directory.file(name))
        let piece = 1 << 20
        for start in stride(from: 0, to: file.bytes.count, by: piece) {
            try sink.write([UInt8](file.bytes[start..<min(start + piece, file.bytes.count)]))
            file.forgetPages()
        }
        try sink.close()
    }
}
