//! Decides how much of a conversation the model gets: the last turns that fit a budget, starting with a turn of the
//! user.

use crate::messages::Role;
use crate::model::Turn;

/// About how many bytes of text make a token, in most languages and for most models. The estimate is rather too high,
/// because an endpoint refuses a request that is too long as a whole.
const BYTES_PER_TOKEN: usize = 3;

/// The tokens that a turn costs beside its text, and the tokens of a picture.
const TURN_TOKENS: usize = 8;
const MEDIA_TOKENS: usize = 800;

pub(super) fn tokens(turn: &Turn) -> usize {
    let media = if turn.media.is_some() { MEDIA_TOKENS } else { 0 };
    TURN_TOKENS + media + turn.text.len().div_ceil(BYTES_PER_TOKEN)
}

/// The last turns within the budget. The very last one is always among them.
pub(super) fn within(budget_tokens: usize, turns: &[Turn]) -> Vec<Turn> {
    let mut left = budget_tokens;
    let mut first = turns.len();
    for (index, turn) in turns.iter().enumerate().rev() {
        let cost = tokens(turn);
        if cost > left && first < turns.len() {
            break;
        }
        left = left.saturating_sub(cost);
        first = index;
    }
    // An answer without its question would look like the model talking to itself.
    let asked = turns[first..].iter().position(|turn| turn.role == Role::User).unwrap_or(0);
    turns[first + asked..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(lengths: &[usize]) -> Vec<Turn> {
        let role = |index| if index % 2 == 0 { Role::User } else { Role::Assistant };
        lengths.iter().enumerate().map(|(index, length)| Turn::text(role(index), &"x".repeat(*length))).collect()
    }

    #[test]
    fn the_last_turns_that_fit_are_told_and_the_first_of_them_is_a_users() {
        let turns = talk(&[300, 300, 300, 300, 300]);
        let each = tokens(&turns[0]);
        for (budget, expected) in
            [(10_000, 5), (5 * each, 5), (5 * each - 1, 3), (3 * each, 3), (2 * each, 1), (each, 1)]
        {
            assert_eq!(within(budget, &turns).len(), expected, "{budget}");
        }
    }

    #[test]
    fn the_message_to_answer_is_always_told() {
        assert_eq!(within(1, &talk(&[10, 10, 9000])).len(), 1);
        assert_eq!(within(0, &talk(&[1])).len(), 1);
        assert!(within(100, &[]).is_empty());
    }
}
