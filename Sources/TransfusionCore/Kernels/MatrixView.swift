internal import Glibc

/// A matrix in memory that somebody else owns: what a product reads or writes.
public struct MatrixView {
    public let address: UnsafeMutableRawPointer
    /// `f32` or `bf16`.
    public let type: ElementType
    public let rows: Int
    public let columns: Int
    /// Elements from one row in memory to the next. With `isTransposed`, a row in memory is a column of the matrix.
    public let rowStride: Int
    public let isTransposed: Bool
    /// Whether this is the transpose of what `Matmul.pack` has put in order. Only whole panels can be cut from it.
    private(set) var isPacked = false

    /// A matrix of `rows` by `columns`, as the product sees it.
    public init(
        _ address: UnsafeMutableRawPointer, _ type: ElementType, rows: Int, columns: Int, rowStride: Int,
        isTransposed: Bool = false
    ) {
        precondition(type == .f32 || type == .bf16, "products are defined for f32 and bf16, not \(type)")
        precondition(rows >= 0 && columns >= 0, "a matrix of \(rows) x \(columns)")
        precondition(
            rowStride >= (isTransposed ? rows : columns) || rows <= 1 && columns <= 1,
            "rows of a \(rows) x \(columns) matrix overlap with a stride of \(rowStride)")
        self.address = address
        self.type = type
        self.rows = rows
        self.columns = columns
        self.rowStride = rowStride
        self.isTransposed = isTransposed
    }

    /// The whole tensor as `rows` by `width`.
    public init(_ tensor: Tensor) {
        // An empty tensor has an address too: its storage is never smaller than one cache line.
        self.init(
            tensor.bytes.baseAddress!, tensor.type, rows: tensor.rows, columns: tensor.width, rowStride: tensor.width)
    }

    /// The transpose of a packed matrix of `outputs` by `inputs`: what a product takes as its second operand.
    init(transposeOfPacked weight: Tensor) {
        self = MatrixView(weight).transposed
        isPacked = true
    }

    /// The same memory read with rows and columns exchanged.
    public var transposed: MatrixView {
        precondition(!isPacked, "a packed matrix is read in one direction")
        return MatrixView(
            address, type, rows: columns, columns: rows, rowStride: rowStride, isTransposed: !isTransposed)
    }

    /// The part of the matrix in the given rows and columns.
    public func slice(rows: Range<Int>, columns: Range<Int>) -> MatrixView {
        precondition(
            rows.lowerBound >= 0 && rows.upperBound <= self.rows && columns.lowerBound >= 0
                && columns.upperBound <= self.columns,
            "rows \(rows) and columns \(columns) leave a matrix of \(self.rows) x \(self.columns)")
        precondition(
            !isPacked || rows.count == self.rows && columns.lowerBound.isMultiple(of: Matmul.panel),
            "rows \(rows) and columns \(columns) are no panels")
        let offset =
            isTransposed
            ? columns.lowerBound * rowStride + rows.lowerBound : rows.lowerBound * rowStride + columns.lowerBound
        var part = MatrixView(
            address + offset * type.byteCount, type, rows: rows.count, columns: columns.count, rowStride: rowStride,
            isTransposed: isTransposed)
        part.isPacked = isPacked
        return part
    }

    public func slice(rows: Range<Int>) -> MatrixView { slice(rows: rows, columns: 0..<columns) }
    public func slice(columns: Range<Int>) -> MatrixView { slice(rows: 0..<rows, columns: columns) }

    /// Writes zero to every element.
    func clear() {
        let (lines, length) = isTransposed ? (columns, rows) : (rows, columns)
        for line in 0..<lines {
            memset(address + line * rowStride * type.byteCount, 0, length * type.byteCount)
        }
    }
}
