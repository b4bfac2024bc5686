import Foundation

/// Lines with columns of equal width: the first stands to the left, the others to the right.
func printTable(_ rows: [[String]]) {
    let widths = (0..<(rows.first?.count ?? 0)).map { column in rows.map { $0[column].count }.max() ?? 0 }
    for row in rows {
        let cells = zip(row, widths).enumerated().map { column, cell in
            let space = String(repeating: " ", count: cell.1 - cell.0.count)
            return column == 0 ? cell.0 + space : space + cell.0
        }
        print(cells.joined(separator: "  ").replacing(/\ +$/, with: ""))
    }
}
