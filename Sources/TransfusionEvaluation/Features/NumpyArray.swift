import TransfusionConfig

/// An array as numpy stores it in `.npy`, of floating-point numbers.
///
/// ### References
/// numpy.lib.format, versions 1.0 to 3.0.
struct NumpyArray {
    let shape: [Int]
    /// The last index runs fastest, whatever the order in the file.
    let values: [Double]

    /// - Parameter name: What errors call it.
    /// - Throws: `CommandFailure` that names it when it is something else.
    init(_ bytes: [UInt8], name: String) throws {
        func fail(_ problem: String) -> CommandFailure { CommandFailure("\(name): \(problem)") }
        guard bytes.count >= 12, bytes.starts(with: [0x93] + Array("NUMPY".utf8)) else {
            throw fail("is no array of numpy")
        }
        let isShort = bytes[6] == 1
        let length = (0..<(isShort ? 2 : 4)).reduce(0) { $0 | Int(bytes[8 + $1]) << (8 * $1) }
        let start = (isShort ? 10 : 12) + length
        guard start <= bytes.count else { throw fail("ends inside its header") }
        let header = String(decoding: bytes[start - length..<start], as: UTF8.self)
        guard let type = header.firstMatch(of: /'descr':\s*'([^']*)'/)?.1,
            let order = header.firstMatch(of: /'fortran_order':\s*(True|False)/)?.1,
            let extents = header.firstMatch(of: /'shape':\s*\(([^)]*)\)/)?.1
        else { throw fail("has a header that cannot be read") }
        let sizes = extents.split(whereSeparator: { ", ".contains($0) }).map { Int($0) ?? -1 }
        var count = 1
        for size in sizes {
            let (product, overflow) = count.multipliedReportingOverflow(by: size)
            guard size >= 0, !overflow else { throw fail("has the shape (\(extents))") }
            count = product
        }
        guard let width = ["<f4": 4, "<f8": 8][type] else {
            throw fail("has elements of the type \(type); save it as float32 or float64")
        }
        let (expected, overflow) = count.multipliedReportingOverflow(by: width)
        guard !overflow, bytes.count - start == expected else {
            throw fail("has \(bytes.count - start) bytes for the shape (\(extents)) of \(type)")
        }
        let values: [Double] = bytes.withUnsafeBytes { buffer in
            (0..<count).map { index in
                let place = start + index * width
                return width == 4
                    ? Double(
                        Float(
                            bitPattern: UInt32(
                                littleEndian: buffer.loadUnaligned(fromByteOffset: place, as: UInt32.self))))
                    : Double(
                        bitPattern: UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: place, as: UInt64.self)))
            }
        }
        shape = sizes
        guard order == "True", sizes.count > 1 else {
            self.values = values
            return
        }
        guard sizes.count == 2 else { throw fail("has \(sizes.count) axes in Fortran's order; save it in C's order") }
        self.values = (0..<sizes[0]).flatMap { row in
            (0..<sizes[1]).map { values[$0 * sizes[0] + row] }
        }
    }
}
