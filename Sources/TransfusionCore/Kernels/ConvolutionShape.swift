/// Rows and columns of zeros that a convolution sees around a picture.
public struct ConvolutionPadding: Sendable, Equatable {
    public let top: Int
    public let left: Int
    public let bottom: Int
    public let right: Int

    public init(top: Int, left: Int, bottom: Int, right: Int) {
        precondition(min(top, left, bottom, right) >= 0, "padding is at least 0")
        self.top = top
        self.left = left
        self.bottom = bottom
        self.right = right
    }

    /// The same on all sides.
    public init(_ all: Int) {
        self.init(top: all, left: all, bottom: all, right: all)
    }
}

/// The sizes of a convolution over pictures `[images, height, width, channels]`.
struct ConvolutionShape {
    let images: Int
    let height: Int
    let width: Int
    let inputs: Int
    let outputs: Int
    let kernelHeight: Int
    let kernelWidth: Int
    let stride: Int
    let padding: ConvolutionPadding

    /// - Parameters:
    ///   - pictures: The shape of the input.
    ///   - weight: `[outputs, inputs, kernel height, kernel width]`, or `[outputs, inputs]` for a kernel of one pixel.
    init(pictures: [Int], weight: [Int], stride: Int, padding: ConvolutionPadding) {
        precondition(pictures.count == 4 && [2, 4].contains(weight.count), "a convolution of \(pictures), \(weight)")
        precondition(weight[1] == pictures[3], "\(pictures[3]) channels meet a kernel for \(weight[1])")
        precondition(stride >= 1, "a stride is at least 1")
        (images, height, width, inputs) = (pictures[0], pictures[1], pictures[2], pictures[3])
        (outputs, kernelHeight, kernelWidth) = weight.count == 4 ? (weight[0], weight[2], weight[3]) : (weight[0], 1, 1)
        self.stride = stride
        self.padding = padding
        precondition(
            height + padding.top + padding.bottom >= kernelHeight
                && width + padding.left + padding.right >= kernelWidth,
            "a kernel of \(kernelHeight) x \(kernelWidth) does not fit into \(height) x \(width) pixels")
    }

    var outputHeight: Int { (height + padding.top + padding.bottom - kernelHeight) / stride + 1 }
    var outputWidth: Int { (width + padding.left + padding.right - kernelWidth) / stride + 1 }
    var taps: Int { kernelHeight * kernelWidth }
    /// The shape of the result.
    var result: [Int] { [images, outputHeight, outputWidth, outputs] }
    /// Whether the windows of the pixels are the pixels themselves.
    var isPointwise: Bool { taps == 1 && stride == 1 && padding == ConvolutionPadding(0) }
    /// Floating-point operations of the product, a multiply-add as two. Both gradients take as many.
    var operations: Double { 2 * Double(images * outputHeight * outputWidth) * Double(outputs * inputs * taps) }

    /// A way of making a part of the pixels of `target` out of windows of `source`, each pixel by one product.
    struct Pass {
        /// The part of the target: every `step`-th pixel from `top`, `left` on.
        let top: Int
        let left: Int
        let step: Int
        let gridHeight: Int
        let gridWidth: Int
        /// Where the window of the grid's first pixel begins in the source, and how many pixels of it the next one begins on.
        let windowTop: Int
        let windowLeft: Int
        let windowStep: Int
        let windowHeight: Int
        let windowWidth: Int
        /// Which tap of the kernel each pixel of a window meets.
        let order: [Int32]
    }

    /// The forward pass: every result from its window of the input.
    var forwardPass: Pass {
        Pass(
            top: 0, left: 0, step: 1, gridHeight: outputHeight, gridWidth: outputWidth, windowTop: -padding.top,
            windowLeft: -padding.left, windowStep: stride, windowHeight: kernelHeight, windowWidth: kernelWidth,
            order: (0..<Int32(taps)).map { $0 })
    }

    /// The gradient of the input from that of the result. With a stride the pixels fall into stride² classes that meet
    /// different taps; each class is a convolution without stride, so nothing is multiplied by zeros put in between.
    var backwardPasses: [Pass] {
        (0..<min(stride, height)).flatMap { row in
            let vertical = Self.phase(row, stride, padding.top, kernelHeight)
            return (0..<min(stride, width)).map { column in
                let horizontal = Self.phase(column, stride, padding.left, kernelWidth)
                return Pass(
                    top: row, left: column, step: stride, gridHeight: (height - row + stride - 1) / stride,
                    gridWidth: (width - column + stride - 1) / stride, windowTop: vertical.start,
                    windowLeft: horizontal.start, windowStep: 1, windowHeight: vertical.taps.count,
                    windowWidth: horizontal.taps.count,
                    order: vertical.taps.flatMap { y in horizontal.taps.map { Int32(y * kernelWidth + $0) } })
            }
        }
    }

    /// The taps that pixel `pixel` meets on one axis, and the first result that it is part of: result i meets it by the tap
    /// `pixel + padding − stride · i`.
    private static func phase(_ pixel: Int, _ stride: Int, _ padding: Int, _ kernel: Int) -> (start: Int, taps: [Int]) {
        let taps = (0..<kernel).reversed().filter { (pixel + padding - $0) % stride == 0 }
        guard let last = taps.first else { return (0, []) }
        return ((pixel + padding - last) / stride, taps)
    }
}
