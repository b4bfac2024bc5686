/// Pictures side by side with labels, for a person to look at.
public struct ContactSheet {
    /// One or more pictures that belong together, such as a real one and a generated one.
    public struct Entry {
        public var label: String
        /// A second line that makes the entry stand out, such as "held out".
        public var note: String?
        public var pictures: [Picture]

        public init(label: String, note: String? = nil, pictures: [Picture]) {
            self.label = label
            self.note = note
            self.pictures = pictures
        }
    }

    public var entries: [Entry]
    public var columns: Int
    /// Small pictures are magnified to about this many pixels.
    public var pictureSize = 96

    public init(entries: [Entry], columns: Int) {
        precondition(columns > 0)
        self.entries = entries
        self.columns = columns
    }

    /// - Throws: `DataError` when the font for the labels is missing.
    public func render(font path: String = LabelFont.defaultPath) throws(DataError) -> Picture {
        let font = try LabelFont(path, size: 12)
        let gap = 6
        let pictures = entries.map { entry in
            entry.pictures.map { $0.magnified(max(1, pictureSize / max($0.width, $0.height))) }
        }
        let contentWidth = pictures.map { $0.reduce(-gap) { $0 + $1.width + gap } }.max() ?? 0
        let cellWidth = max(contentWidth, 144) + 2 * gap
        let pictureHeight = pictures.joined().map(\.height).max() ?? 0
        let cellHeight = pictureHeight + 2 * font.lineHeight + 3 * gap
        let rows = max(1, (entries.count + columns - 1) / columns)
        var sheet = Picture(
            width: cellWidth * min(columns, max(1, entries.count)), height: cellHeight * rows,
            filled: SIMD3(244, 244, 244))
        for (index, entry) in entries.enumerated() {
            let left = index % columns * cellWidth + gap
            let top = index / columns * cellHeight + gap
            var x = left
            for picture in pictures[index] {
                sheet.draw(picture, x: x, y: top)
                x += picture.width + gap
            }
            let textTop = top + pictureHeight + gap / 2
            font.draw(entry.label, onto: &sheet, x: left, y: textTop, width: cellWidth - gap)
            if let note = entry.note {
                font.draw(
                    note, onto: &sheet, x: left, y: textTop + font.lineHeight, width: cellWidth - gap,
                    colour: SIMD3(200, 60, 20))
            }
        }
        return sheet
    }
}
