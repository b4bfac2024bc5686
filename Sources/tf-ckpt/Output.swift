import Foundation

/// A size as people read it, as in `1.86 GB`.
func bytes(_ count: Int) -> String {
    var value = Double(count)
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000 { return unit == "B" ? "\(count) B" : String(format: "%.2f %@", value, unit) }
        value /= 1000
    }
    return String(format: "%.2f TB", value)
}

/// How long ago something was, in its largest unit.
func age(_ created: Int) -> String {
    let seconds = max(0, Int(Date().timeIntervalSince1970) - created)
    return switch seconds {
    case ..<60: "\(seconds) s ago"
    case ..<3600: "\(seconds / 60) min ago"
    case ..<86400: "\(seconds / 3600) h ago"
    default: "\(seconds / 86400) days ago"
    }
}

/// Lines with columns of equal width; the first `left` columns stand to the left, the others to the right.
func printTable(_ rows: [[String]], left: Int = 1) {
    let widths = (0..<(rows.first?.count ?? 0)).map { column in rows.map { $0[column].count }.max() ?? 0 }
    for row in rows {
        let cells = zip(row, widths).enumerated().map { column, cell in
            let space = String(repeating: " ", count: cell.1 - cell.0.count)
            return column < left ? cell.0 + space : space + cell.0
        }
        let line = cells.joined(separator: "  ")
        print(line.replacing(/\ +$/, with: ""))
    }
}
