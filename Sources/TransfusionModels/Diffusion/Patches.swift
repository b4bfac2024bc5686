import TransfusionCore

/// The order of numbers in patches: a patch vector runs over rows, columns and channels, with the channel fastest; the
/// patches of an image follow each other in raster order. A U-Net gets whole pictures, which are patches of one point.
public struct Patches: Sendable {
    private let channels: Int
    private let height: Int
    private let width: Int
    private let size: Int
    private let isPicture: Bool

    public init(_ configuration: ModelConfiguration) {
        channels = configuration.imageChannels
        height = configuration.imageHeight
        width = configuration.imageWidth
        size = configuration.patchCoder == .unet ? 1 : configuration.patchSize
        isPicture = configuration.patchCoder == .unet
    }

    /// Numbers in one image.
    public var imageCount: Int { channels * height * width }

    /// The shape of so many images: `[N · patches, size · size · C]`, or `[N, H, W, C]` as a U-Net takes them.
    func shape(_ count: Int) -> [Int] {
        isPicture
            ? [count, height, width, channels]
            : [count * (height / size) * (width / size), size * size * channels]
    }

    /// Writes images `[N, C, H, W]` as patches, `shape(N)`.
    public func split(_ images: UnsafePointer<Float>, into patches: UnsafeMutablePointer<Float>, count: Int) {
        forEach(count) { pixel, element in patches[element] = images[pixel] }
    }

    /// Writes patches back as images.
    public func join(_ patches: UnsafePointer<Float>, into images: UnsafeMutablePointer<Float>, count: Int) {
        forEach(count) { pixel, element in images[pixel] = patches[element] }
    }

    @inline(__always)
    private func forEach(_ count: Int, _ body: (_ pixel: Int, _ element: Int) -> Void) {
        var element = 0
        for image in 0..<count {
            for patchRow in 0..<height / size {
                for patchColumn in 0..<width / size {
                    for row in 0..<size {
                        let line =
                            (image &* channels &* height &+ patchRow &* size &+ row) &* width
                            &+ patchColumn &* size
                        for column in 0..<size {
                            for channel in 0..<channels {
                                body(line &+ channel &* height &* width &+ column, element)
                                element &+= 1
                            }
                        }
                    }
                }
            }
        }
    }
}
