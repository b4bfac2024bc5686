internal import Foundation
internal import TransfusionCheckpoint
public import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels

/// Sends pictures through an autoencoder and back: all of `tf-sample reconstruct`.
public struct ReconstructRequest: Sendable {
    /// What `AutoencoderWeights` opens.
    public var autoencoder: String
    /// PNG, JPEG, WebP or GIF files.
    public var pictures: [String]
    /// A new directory, which gets each picture beside what came back of it.
    public var output: String
    /// Height and width that pictures are brought to; nil keeps theirs, cut to what the autoencoder divides.
    public var size: Int?
    public var precision = RunConfiguration.Precision.automatic
    /// Nil takes the processors that this process may use.
    public var threads: Int?

    /// More pixels need too much memory for one picture.
    static let mostPixels = 1 << 22

    public init(autoencoder: String, pictures: [String], output: String) {
        self.autoencoder = autoencoder
        self.pictures = pictures
        self.output = output
    }

    /// How a picture came back.
    public struct Reconstruction: Encodable, Sendable, Equatable {
        public let file: String
        /// The picture with the original on the left.
        public let output: String
        /// Channels, height and width.
        public let latent: [Int]
        /// In decibels, of values of 0 … 255; nil when nothing was lost.
        public let psnr: Double?
    }

    public func run() throws -> [Reconstruction] {
        try PictureDirectory.requireFree(output)
        if PictureDirectory.looksLikeAFile(output) {
            throw CommandFailure("\(output): pictures need a directory; give the name of one", .wrongUse)
        }
        let weights = try AutoencoderWeights(autoencoder), configuration = weights.configuration
        let side = configuration.downsampling
        if let size, !(side...2048).contains(size) || size % side != 0 {
            throw SettingError(
                "size", "must be a multiple of the autoencoder's \(side), from \(side) to 2048, not \(size)")
        }
        let coder = try PictureCoder(
            weights, shape: (configuration.latentChannels, 1, 1), of: weights.path, digest: nil,
            Context(pool: ThreadPool(threads: threads), type: precision.type()))
        let directory = try PictureDirectory(output)
        var line = ProgressLine("reconstructing", total: pictures.count)
        let made = try pictures.enumerated().map { number, path in
            line.update(number)
            let original = try prepared(try PictureFile.read(path), path, side: side)
            let own = coder.latents(height: original.height, width: original.width)
            let copy = own.picture(of: own.image(of: original))
            var both = Picture(width: 2 * original.width, height: original.height)
            both.draw(original, x: 0, y: 0)
            both.draw(copy, x: original.width, y: 0)
            let place = directory.path + "/" + PictureDirectory.name(number)
            try PictureDirectory.write(both, to: place)
            return Reconstruction(
                file: path, output: place,
                latent: [configuration.latentChannels, original.height / side, original.width / side],
                psnr: Self.peakSignalToNoise(original, copy))
        }
        line.clear()
        return made
    }

    /// The middle of a picture that the autoencoder divides.
    private func prepared(_ picture: Picture, _ path: String, side: Int) throws -> Picture {
        if let size { return PictureCoder.middle(of: picture, width: size, height: size) }
        let width = picture.width / side * side, height = picture.height / side * side
        guard width > 0, height > 0, width * height <= Self.mostPixels else {
            throw CommandFailure(
                "\(path): a picture of \(picture.width) × \(picture.height) has "
                    + (width * height > Self.mostPixels
                        ? "more than \(Self.mostPixels) pixels" : "less than one latent")
                    + "; bring it to another size", .wrongUse)
        }
        var middle = Picture(width: width, height: height)
        middle.draw(picture, x: -(picture.width - width) / 2, y: -(picture.height - height) / 2)
        return middle
    }

    /// 10 · log10(255² / mean squared error); nil for equal pictures.
    static func peakSignalToNoise(_ first: Picture, _ second: Picture) -> Double? {
        var sum = 0
        for (a, b) in zip(first.rgb, second.rgb) { sum += (Int(a) - Int(b)) * (Int(a) - Int(b)) }
        return sum == 0 ? nil : 10 * log10(255 * 255 * Double(first.rgb.count) / Double(sum))
    }
}
