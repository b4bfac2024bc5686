/// Of at least one value; the upper one of two in the middle.
func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
