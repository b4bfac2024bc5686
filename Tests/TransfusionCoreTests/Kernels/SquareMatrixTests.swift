import Testing
import TransfusionCore

struct SquareMatrixTests {
    private func isClose(_ a: [Double], _ b: [Double]) -> Bool {
        a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) < 1e-12 }
    }

    @Test func productsAndTraces() {
        let a = SquareMatrix(size: 2, values: [1, 2, 3, 4]), b = SquareMatrix(size: 2, values: [0, 1, 5, 6])
        #expect((a * b).values == [10, 13, 20, 27])
        #expect(a.trace == 5)
        #expect(SquareMatrix.product([1, 2], 1, [3, 4, 5, 6], 2, 2, transposesB: true) == [11, 17])
        #expect(SquareMatrix.product([1, 2], 1, [3, 4, 5, 6], 2, 2) == [13, 16])
    }

    /// [[2, 1], [1, 2]] has the eigenvalues 1 and 3 along the diagonals of the plane.
    @Test func eigenvaluesAreAscendingWithVectorsAsRows() throws {
        let (values, vectors) = try #require(SquareMatrix(size: 2, values: [2, 1, 1, 2]).symmetricEigen(vectors: true))
        #expect(isClose(values, [1, 3]))
        let rows = try #require(vectors)
        #expect(abs(rows[0, 0] + rows[0, 1]) < 1e-12 && abs(rows[1, 0] - rows[1, 1]) < 1e-12)
        #expect(SquareMatrix(size: 1, values: [.nan]).symmetricEigen(vectors: false) == nil)
    }

    @Test func theRootTimesItselfIsTheMatrix() throws {
        let matrix = SquareMatrix(size: 3, values: [4, 1, 0, 1, 3, 1, 0, 1, 2])
        let root = try #require(matrix.symmetricSquareRoot())
        #expect(isClose((root * root).values, matrix.values))
        // Rank one.
        let singular = SquareMatrix(size: 2, values: [1, 2, 2, 4])
        let other = try #require(singular.symmetricSquareRoot())
        #expect(isClose((other * other).values, singular.values))
    }

    @Test func covarianceDividesByOneLess() {
        let covariance = SquareMatrix.covariance([1, 2, 3, 6, 5, 4], rows: 3, mean: [3, 4])
        #expect(isClose(covariance.values, [4, 2, 2, 4]))
    }
}
