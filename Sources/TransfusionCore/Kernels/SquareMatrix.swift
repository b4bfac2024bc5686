internal import COpenBLAS

/// A square matrix in double precision, for statistics; OpenBLAS computes it with threads of its own.
public struct SquareMatrix: Sendable, Equatable {
    public let size: Int
    /// Row by row.
    public private(set) var values: [Double]

    /// - Parameter values: `size · size` numbers, row by row.
    public init(size: Int, values: [Double]) {
        precondition(values.count == size * size && size > 0)
        self.size = size
        self.values = values
    }

    public subscript(row: Int, column: Int) -> Double { values[row * size + column] }

    public var trace: Double { (0..<size).reduce(0) { $0 + self[$1, $1] } }

    public static func * (a: SquareMatrix, b: SquareMatrix) -> SquareMatrix {
        precondition(a.size == b.size)
        return SquareMatrix(size: a.size, values: product(a.values, a.size, b.values, a.size, a.size))
    }

    /// `a · b` of `[rows, inner]` and `[inner, columns]`, or of a transposed `[columns, inner]`.
    public static func product(
        _ a: [Double], _ rows: Int, _ b: [Double], _ columns: Int, _ inner: Int, transposesB: Bool = false
    ) -> [Double] {
        precondition(a.count == rows * inner && b.count == inner * columns)
        return [Double](unsafeUninitializedCapacity: rows * columns) { result, count in
            cblas_dgemm(
                CblasRowMajor, CblasNoTrans, transposesB ? CblasTrans : CblasNoTrans, Int32(rows), Int32(columns),
                Int32(inner), 1, a, Int32(inner), b, Int32(transposesB ? inner : columns), 0, result.baseAddress,
                Int32(columns))
            count = rows * columns
        }
    }

    /// The covariance of the columns of `rows` rows, divided by `rows − 1`.
    ///
    /// - Parameter values: `[rows, size]`; at least two rows.
    public static func covariance(_ values: [Double], rows: Int, mean: [Double]) -> SquareMatrix {
        let size = mean.count
        precondition(rows > 1 && values.count == rows * size)
        var centred = values
        for row in 0..<rows { for column in 0..<size { centred[row * size + column] -= mean[column] } }
        let result = [Double](unsafeUninitializedCapacity: size * size) { result, count in
            cblas_dgemm(
                CblasRowMajor, CblasTrans, CblasNoTrans, Int32(size), Int32(size), Int32(rows), 1 / Double(rows - 1),
                centred, Int32(size), centred, Int32(size), 0, result.baseAddress, Int32(size))
            count = size * size
        }
        return SquareMatrix(size: size, values: result)
    }

    /// The eigenvalues of a symmetric matrix, ascending, and the eigenvectors as rows if they are asked for. Nil when
    /// LAPACK finds none, as for numbers that are not finite.
    public func symmetricEigen(vectors: Bool) -> (values: [Double], vectors: SquareMatrix?)? {
        guard values.allSatisfy(\.isFinite) else { return nil }
        var a = values
        var eigenvalues = [Double](repeating: 0, count: size)
        var n = Int32(size), info: Int32 = 0
        func solve(_ work: inout [Double], _ workCount: Int32, _ integers: inout [Int32], _ integerCount: Int32) {
            var workCount = workCount, integerCount = integerCount, leading = n
            dsyevd_(
                vectors ? "V" : "N", "L", &n, &a, &leading, &eigenvalues, &work, &workCount, &integers, &integerCount,
                &info, 1, 1)
        }
        // First asks how much room it needs.
        var work = [0.0], integers: [Int32] = [0]
        solve(&work, -1, &integers, -1)
        guard info == 0 else { return nil }
        let counts = (Int(work[0]), Int(integers[0]))
        work = [Double](repeating: 0, count: max(1, counts.0))
        integers = [Int32](repeating: 0, count: max(1, counts.1))
        solve(&work, Int32(counts.0), &integers, Int32(counts.1))
        guard info == 0 else { return nil }
        // Fortran's columns are rows here.
        return (eigenvalues, vectors ? SquareMatrix(size: size, values: a) : nil)
    }

    /// The symmetric root of a symmetric matrix without negative eigenvalues; those that rounding made negative count as
    /// zero. Nil when there are no eigenvalues.
    public func symmetricSquareRoot() -> SquareMatrix? {
        guard let (eigenvalues, vectors) = symmetricEigen(vectors: true), let vectors else { return nil }
        // Vᵀ·√Λ·V = (⁴√Λ·V)ᵀ·(⁴√Λ·V), with eigenvectors as rows of V.
        var scaled = vectors.values
        for row in 0..<size {
            let factor = max(0, eigenvalues[row]).squareRoot().squareRoot()
            for column in 0..<size { scaled[row * size + column] *= factor }
        }
        let result = [Double](unsafeUninitializedCapacity: size * size) { result, count in
            cblas_dgemm(
                CblasRowMajor, CblasTrans, CblasNoTrans, Int32(size), Int32(size), Int32(size), 1, scaled, Int32(size),
                scaled, Int32(size), 0, result.baseAddress, Int32(size))
            count = size * size
        }
        return SquareMatrix(size: size, values: result)
    }
}
